import {
  ArgumentsHost,
  CanActivate,
  Catch,
  ExceptionFilter,
  ExecutionContext,
  ForbiddenException,
  HttpStatus,
  Injectable,
} from '@nestjs/common';
import { AuthGuard } from '@nestjs/passport';
import type { Request, Response } from 'express';

/** Checks the form's credentials and begins the session. */
@Injectable()
export class LoginGuard extends AuthGuard('local') {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const allowed = (await super.canActivate(context)) as boolean;
    await super.logIn(context.switchToHttp().getRequest<Request>());
    return allowed;
  }
}

/** Lets signed-in people through. */
@Injectable()
export class SignedInGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.switchToHttp().getRequest<Request>().isAuthenticated();
  }
}

/** Sends everybody else to the sign-in page. */
@Catch(ForbiddenException)
export class ToLoginFilter implements ExceptionFilter {
  catch(_error: ForbiddenException, host: ArgumentsHost): void {
    host.switchToHttp().getResponse<Response>().redirect(HttpStatus.SEE_OTHER, '/login');
  }
}
