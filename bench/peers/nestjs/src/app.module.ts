import { Module } from '@nestjs/common';
import { PassportModule } from '@nestjs/passport';
import { AppController } from './app.controller.js';
import { LocalStrategy } from './auth/local.strategy.js';
import { SessionSerializer } from './auth/session.serializer.js';
import { UsersService } from './users/users.service.js';

@Module({
  imports: [PassportModule.register({ session: true })],
  controllers: [AppController],
  providers: [LocalStrategy, SessionSerializer, UsersService],
})
export class AppModule {}
