import { Injectable } from '@nestjs/common';
import { PassportSerializer } from '@nestjs/passport';
import { User, UsersService } from '../users/users.service.js';

@Injectable()
export class SessionSerializer extends PassportSerializer {
  constructor(private readonly users: UsersService) {
    super();
  }

  serializeUser(user: User, done: (error: unknown, id?: string) => void): void {
    done(null, user.id);
  }

  async deserializeUser(id: string, done: (error: unknown, user?: User | false) => void): Promise<void> {
    try {
      done(null, (await this.users.findById(id)) ?? false);
    } catch (error) {
      done(error);
    }
  }
}
